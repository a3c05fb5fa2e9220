"""Views: what the command line, the API and every other screen show of jobs, queues and workers.

A view is a frozen dataclass and a function that reads it. Whatever two screens could disagree about
is computed here: what is masked, which jobs a name means, whether a worker is lost, when a schedule
ticks next. Times are compared by the database's clock. How a view is printed or written as JSON is
the matter of each screen.
"""
