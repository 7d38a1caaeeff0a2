"""Encryption at rest: what a thief of a disk or of a backup must not read, the store never holds in clear.

`envelope` is the form of a sealed value, `configuration` the file with the keys, `keyring` the keys in use, `store` the
store that seals and opens, `reencryption` what brings all values under the key that writes, `upkeep` what a running
server does about it. Administrators ask for it under `/encryption` (`facade/encryption_keys`).
"""
