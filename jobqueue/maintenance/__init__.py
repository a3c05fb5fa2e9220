"""What workers do beside jobs: freeing the jobs of workers that are gone."""
