"""What a run leaves on disk: the record, the folder and its one reader."""
