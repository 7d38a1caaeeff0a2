"""Role-based access: what the objects of rbac.authorization.k8s.io allow, and what keeps them from being widened."""
