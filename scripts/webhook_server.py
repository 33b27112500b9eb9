"""Entry point of the webhook service for gunicorn: `gunicorn webhook_server:app`."""

import os

from webhook.settings import Settings
from webhook.web.app import create_app

app = create_app(Settings.from_environ(os.environ))
