"""Classifies and authorizes statements by their tokens, before the engine sees them."""
