"""Superset's configuration. Upper-case names override superset/config.py of Superset 6.1.0; everything else stands as it is there."""

import hashlib
import hmac
import logging
import os
import sys
from datetime import timedelta
from pathlib import Path

from flask import Flask
from sqlalchemy.engine.url import URL

# Superset runs this file without making its folder importable when it finds it by SUPERSET_CONFIG_PATH.
_HERE = Path(__file__).resolve().parent
sys.path[:0] = [folder for folder in map(str, (_HERE, _HERE.parents[1] / "scripts")) if folder not in sys.path]

from stack_superset.fixes.time_grain import keep_aliases_apart  # noqa: E402
from stack_superset.fixes.unsigned import read_unsigned  # noqa: E402
from stack_superset.fixes.views import list_once  # noqa: E402
from stack_superset.people import close_shared_answers  # noqa: E402
from stack_superset.settings import Settings  # noqa: E402
from stack_superset.static_files import StaticFiles  # noqa: E402
from stack_superset.warehouse import connection_mutator  # noqa: E402

_settings = Settings.from_environ(os.environ)


def _derived_secret(purpose: str) -> str:
    """A secret of its own for features that are off, in place of the published default."""
    return hmac.new(_settings.secret_key.encode(), purpose.encode(), hashlib.sha256).hexdigest()


# --- Its own data --------------------------------------------------------------------------------------------------
SECRET_KEY = _settings.secret_key
SQLALCHEMY_DATABASE_URI = URL.create(
    "postgresql+psycopg2",
    username=_settings.database_user,
    password=_settings.database_password,
    host=_settings.database_host,
    port=_settings.database_port,
    database=_settings.database_name,
).render_as_string(hide_password=False)
# A restarted Postgres must not show as an error page.
SQLALCHEMY_ENGINE_OPTIONS = {"pool_pre_ping": True, "pool_size": 8, "max_overflow": 4}
ALEMBIC_SKIP_LOG_CONFIG = True
LOG_LEVEL = logging.WARNING

# --- The warehouse -------------------------------------------------------------------------------------------------
DB_CONNECTION_MUTATOR = connection_mutator(_settings)


def FLASK_APP_MUTATOR(app: Flask) -> None:  # noqa: N802
    keep_aliases_apart(app)
    list_once(app)
    read_unsigned(app)
    close_shared_answers(app)


# The limits of the database user's profile hold for everything; these keep answers small enough for a browser.
ROW_LIMIT = 50_000
SQL_MAX_ROW = 50_000
DISPLAY_MAX_ROW = 10_000
DEFAULT_SQLLAB_LIMIT = 1_000
SQLLAB_TIMEOUT = 60
SUPERSET_WEBSERVER_TIMEOUT = 90
SQLALCHEMY_EXAMPLES_URI = SQLALCHEMY_DATABASE_URI
CURRENCIES = [
    _settings.currency,
    *(code for code in ("USD", "EUR", "GBP", "INR", "MXN", "JPY", "CNY") if code != _settings.currency),
]

# --- Caches: files, a bounded number of them; fresh numbers within five minutes of a run ----------------------------
_CACHE = {"CACHE_TYPE": "FileSystemCache", "CACHE_DEFAULT_TIMEOUT": 300, "CACHE_THRESHOLD": 1_000}
CACHE_CONFIG = {**_CACHE, "CACHE_DIR": str(_settings.home / "cache" / "metadata")}
DATA_CACHE_CONFIG = {**_CACHE, "CACHE_DIR": str(_settings.home / "cache" / "data")}

ADDITIONAL_MIDDLEWARE = [StaticFiles]

# --- Features ------------------------------------------------------------------------------------------------------
FEATURE_FLAGS = {
    # Rows depend on who asks (stack_superset/people.py): nobody gets an answer that another person's query left in the cache.
    "CACHE_QUERY_BY_USER": True,
    "DASHBOARD_RBAC": True,
    "DRILL_BY": True,
    "DRILL_TO_DETAIL": True,
    # The number beside that of the period before (`pop_kpi`) is among these.
    "CHART_PLUGINS_EXPERIMENTAL": True,
    # These need Celery, a broker and a browser.
    "ALERT_REPORTS": False,
    "THUMBNAILS": False,
    "EMBEDDABLE_CHARTS": False,
    "EMBEDDED_SUPERSET": False,
    "SSH_TUNNELING": False,
    "ENABLE_TEMPLATE_PROCESSING": False,
}
CELERY_CONFIG = None

# --- Safety --------------------------------------------------------------------------------------------------------
ENABLE_CORS = False
WTF_CSRF_ENABLED = True
# Browsers send a cookie to every port of a host: under the usual name, Airflow's and Superset's would end each other's sessions.
SESSION_COOKIE_NAME = "superset_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
PERMANENT_SESSION_LIFETIME = timedelta(days=7)
PREVENT_UNSAFE_DB_CONNECTIONS = True
DATASET_IMPORT_ALLOWED_DATA_URLS: list[str] = []
THEME_FONT_URL_ALLOWED_DOMAINS: list[str] = []
FAB_API_SWAGGER_UI = False
GUEST_TOKEN_JWT_SECRET = _derived_secret("guest token")
GLOBAL_ASYNC_QUERIES_JWT_SECRET = _derived_secret("async queries")
TALISMAN_ENABLED = True
# The browser talks to nobody but Superset: no map tiles, no fonts, no telemetry pixel.
TALISMAN_CONFIG = {
    "content_security_policy": {
        "default-src": ["'self'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "font-src": ["'self'", "data:"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    # TLS, where there is any, ends at the reverse proxy.
    "force_https": False,
    "session_cookie_secure": False,
}
