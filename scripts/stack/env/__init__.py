"""The file .env: read line by line, checked, made once, written whole."""
