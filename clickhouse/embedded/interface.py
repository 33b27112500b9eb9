"""All parameters and settings on which ClickHouse's HTTP interface itself acts: some are done here, the others refused by name.

Every other parameter of a request is a setting of the engine.
"""

from __future__ import annotations

from embedded.errors import QueryError

# Done here; no settings of the engine. `client_protocol_version` is refused where it would change an answer: engine/native.py.
PARAMETERS = frozenset({
    "query", "user", "password", "role", "database", "default_format", "query_id", "session_id", "session_timeout",
    "session_check", "close_session", "wait_end_of_query", "buffer_size", "compress", "decompress", "client_protocol_version",
})  # fmt: skip
# Done here; the engine also knows them and checks their values.
SETTINGS = frozenset({
    "enable_http_compression", "http_zlib_compression_level", "http_response_headers", "add_http_cors_header",
    "send_progress_in_http_headers", "http_headers_progress_interval_ms", "http_wait_end_of_query", "http_response_buffer_size",
    "cancel_http_readonly_queries_on_client_close", "readonly",
    "replace_running_query", "replace_running_query_max_wait_ms", "queue_max_wait_ms",
})  # fmt: skip
# Done here, from the URL or the user's profile; not passed to the engine, which knows only one user.
COUNTS = frozenset({"max_concurrent_queries_for_user", "max_concurrent_queries_for_all_users"})
# Limits of the server, from the profile of the user `default`, in bytes, fields or seconds.
LIMITS = {
    "http_max_uri_size": 1 << 20,
    "http_max_fields": 1000,
    "http_max_field_name_size": 1 << 12,
    "http_max_field_value_size": 1 << 17,
    "http_max_request_header_size": 10 << 20,
    "http_max_multipart_form_data_size": 1 << 30,
    "http_headers_read_timeout": 30,
}
_OFF = ("", "0", "false")
# Refused: values without effect, which pass, and the alternative.
REFUSED = {
    "stacktrace": (_OFF, "the engine tells none"),
    "quota_key": (("",), "the quotas of users.xml have no keys"),
    "framing_output_format": (("", "none"), "leave it out, as /play then does"),
    "http_write_exception_in_output_format": (_OFF, "errors come as a status, or behind the data with X-ClickHouse-Exception-Tag"),
    "http_native_compression_disable_checksumming_on_decompress": (_OFF, "checksums are always verified"),
    "cancel_http_readonly_queries_on_client_close": (("1", "true"), "a client that leaves ends its query"),
    "allow_get_client_http_header": (_OFF, "the engine does not see the headers"),
    "http_allow_database_as_path": (_OFF, "use the parameter database"),
    "http_allow_table_as_file": (_OFF, "send a SELECT with a FORMAT"),
    "http_allow_filters_as_path": (_OFF, "send a SELECT with a WHERE"),
    "http_allow_filters_as_unrecognized_url_parameters": (_OFF, "send a SELECT with a WHERE"),
    "http_max_request_param_data_size": ((), "there are no predefined queries"),
}  # fmt: skip
NO_SETTINGS = PARAMETERS | {"stacktrace", "quota_key"}
# Headers of a request, as `REFUSED`.
REFUSED_HEADERS = {
    "X-ClickHouse-Quota": (("",), "the quotas of users.xml have no keys"),
    "X-ClickHouse-SSL-Certificate-Auth": (("", "off"), "send a password: this server speaks no TLS"),
}


def check(name: str, value: str) -> None:
    """Raises QueryError 48 for an unsupported parameter or setting."""
    name, refused = name.lower(), REFUSED.get(name.lower())
    if refused is not None and value.lower() not in refused[0]:
        raise _refusal(f"{name} = {value}", refused[1])
    if name in LIMITS:
        raise _refusal(name, "it is the server's: set it in the profile of the user default in users.xml")


def check_in_sql(name: str) -> None:
    """Raises QueryError 48 for a setting that is allowed only in the URL or a profile."""
    if name.lower() in COUNTS:
        raise _refusal(name, "send it as a parameter of the request or set it in the user's profile")


def check_header(name: str, value: str | None) -> None:
    nothing, cure = REFUSED_HEADERS[name]
    if value is not None and value.lower() not in nothing:
        raise _refusal(f"Header {name}", cure)


def _refusal(what: str, cure: str) -> QueryError:
    return QueryError(48, f"{what} is not supported: {cure}")


def is_on(value: str | None) -> bool:
    """Whether a switch is on."""
    return value in ("1", "true")
