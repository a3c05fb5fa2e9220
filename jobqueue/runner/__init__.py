"""The processes of workers and their supervisor, and the signals that control them."""
