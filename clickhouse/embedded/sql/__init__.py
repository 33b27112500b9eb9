"""What a statement is and may do, decided on its tokens before the engine sees it."""
