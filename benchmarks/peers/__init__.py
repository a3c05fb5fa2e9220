"""Other job queues, measured beside ours, each with its documented best settings."""
