"""The measurement of a database: how fast it carries jobs, in scratch tables of its own."""
