"""What every other part uses: errors, files, options, processes."""
