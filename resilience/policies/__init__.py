"""The policies, one file each; strangers to one another."""
