"""The loop of one worker process: claim, perform, settle."""
