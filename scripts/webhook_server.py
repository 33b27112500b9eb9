"""Entry point of the webhook service for gunicorn: `gunicorn webhook_server:app`."""

import os

from webhook.app import create_app
from webhook.settings import Settings

app = create_app(Settings.from_environ(os.environ))
