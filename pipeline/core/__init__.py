"""What every stage stands on: errors, files, commands, processes that end with their parent."""
