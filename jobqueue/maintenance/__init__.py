"""Upkeep of the database: freeing jobs of lost workers, recurring jobs, removing old rows."""
