"""An archive: a folder of submissions, each a packed result folder with a manifest, that anybody compares with."""
