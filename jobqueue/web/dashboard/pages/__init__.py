"""The pages: for each what it shows, read by the views, and what its forms do."""
