"""ValidatingAdmissionPolicies: rules about writes that the server itself judges (KEP-3488)."""
