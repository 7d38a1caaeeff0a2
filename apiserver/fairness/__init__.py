"""Priority and fairness (KEP-1040): which requests go on now, which wait, and which are told to come back.

`queueset` decides for one priority level, `borrowing` between levels, `classification` where a request belongs; all pure.
`gate` is what the pipeline asks, `upkeep` keeps the objects that configure it.
"""
