"""The HTTP side: calls, pages, who may call, the shapes of questions and answers."""
