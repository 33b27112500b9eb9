"""Write, audit, publish: dbt builds and tests beside the published tables; the build then replaces all of them or none."""

from webhook.publishing.publisher import Publisher

__all__ = ["Publisher"]
