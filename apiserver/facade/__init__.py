"""Stark's own REST paths beside Kubernetes': `/auth/*`, `/api/config`, each answered in one envelope."""
