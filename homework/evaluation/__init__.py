"""What a model gets right: outcomes, statistics, tables and the report's page."""
