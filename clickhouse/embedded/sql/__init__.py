"""Kinds and rights of statements, decided on its tokens before the engine sees it."""
