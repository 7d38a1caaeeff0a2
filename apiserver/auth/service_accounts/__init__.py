"""The identity of programs: tokens of ServiceAccounts, given out on request, checked at every use, published as keys.

Rules and words are Kubernetes' (pkg/serviceaccount, KEP-1205 bound tokens, KEP-1393 discovery of the issuer, KEP-4193
node and credential in the token).
"""
