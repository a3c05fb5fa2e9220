"""`python -m jobqueue` is `jobs`."""

from jobqueue.cli import main

if __name__ == "__main__":
    main()
