"""Webhooks: programs outside that change or refuse writes (admissionregistration.k8s.io/v1)."""
