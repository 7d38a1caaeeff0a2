"""CronJobs: a job at every time of a schedule."""
