"""Captures that we made of programs that anybody has: data, and the script that makes it again."""
