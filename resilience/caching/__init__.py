"""Keeping answers: a bounded shelf of them, and copies that nobody can spoil."""
