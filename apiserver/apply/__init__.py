"""Who set which field of an object, and what follows from it: server-side apply (KEP-555).

Pure: objects are dicts, kinds are `typed.Type`s made from structural schemas, time is an argument. The registry calls it.
"""
