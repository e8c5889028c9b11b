"""What a trial, a problem and an objective are; everything else rests on it."""
