"""Every column of sealed secrets, so that none is forgotten when keys are changed."""

from __future__ import annotations

from schema.kernel.idempotency import IdempotentAnswer
from schema.kernel.sealed import SealedColumn
from schema.registries.models import Registry

SEALED_COLUMNS = (
    SealedColumn(table=Registry, column="sealed_password"),
    SealedColumn(table=Registry, column="sealed_webhook_secret"),
    SealedColumn(table=IdempotentAnswer, column="data", row_id="|".join),
)
