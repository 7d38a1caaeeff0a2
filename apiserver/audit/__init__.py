"""Who did what, when, from where and with what outcome: every request, by policy, in a log that shows tampering."""
