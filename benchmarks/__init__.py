"""The cost of jobqueue, as a ratio to the same work done by a bare script in the same run."""
