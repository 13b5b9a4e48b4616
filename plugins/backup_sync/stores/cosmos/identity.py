"""Tokens of Microsoft Entra ID in place of an account's key: who asks for them, and what is wrong where there is none.

The token goes to the account itself, for its data; the SDK asks for the scope ``<endpoint>/.default``. Nothing here lists
keys through Azure's management, as Airflow's own hook does: an account that takes no keys has none to list.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from backup_sync.model.errors import BackupSyncError, ConnectionMistake, RetriableError

# It warns of each try and quotes what it was answered, whatever that is; our message says which credential failed, and how.
logging.getLogger("azure.identity").setLevel(logging.ERROR)

PATIENCE = {"retry_total": 2, "connection_timeout": 10, "read_timeout": 30}
"""How the library asks for a token, in tries and seconds. Its own ten tries take minutes; ours go on after these."""

NAMED_BY = (
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_TOKEN_CREDENTIALS",
)
"""Environment variables that say that this worker is meant to have an identity
(https://learn.microsoft.com/python/api/overview/azure/identity-readme#environment-variables)."""

OTHER_SCOPE = "AADSTS500011"
"""Entra ID does not know the account as a resource. The SDK then asks again, for all of Cosmos DB
(``AsyncCosmosBearerTokenCredentialPolicy``)."""


@dataclass(frozen=True)
class Identity:
    """Which identity asks, where the worker could have several. Each part by itself; None: the library's own choice.

    ``client_id``: of a user-assigned managed identity or a workload identity; ``tenant_id``: the latter's tenant.
    """

    client_id: str | None = None
    tenant_id: str | None = None

    def credential(self) -> Any:
        """An asynchronous credential of azure-identity. Raises ValueError for an environment that it cannot take."""
        from azure.identity.aio import DefaultAzureCredential

        options: dict[str, Any] = {}
        if self.client_id:
            options["managed_identity_client_id"] = self.client_id
        if self.tenant_id:
            options["workload_identity_tenant_id"] = self.tenant_id
            options["additionally_allowed_tenants"] = [self.tenant_id]
        return DefaultAzureCredential(**PATIENCE, **options)


class NoToken(ClientAuthenticationError):
    """There is no token. ``problem``: what to raise for it; RetriableError if asking again may help.

    An authentication error, so that neither the SDK nor its pipeline takes it for an account that is away.
    """

    def __init__(self, problem: BackupSyncError) -> None:
        super().__init__(message=str(problem))
        self.problem = problem


class Tokens:
    """The credential of one connection, as the SDK wants it. ``label``: the connection id, for messages.

    The library keeps tokens until they are due, and asks for new ones before they expire.
    """

    def __init__(self, identity: Identity, label: str) -> None:
        self._identity, self._label = identity, label
        self._credential = identity.credential()
        self._had = False

    async def get_token_info(self, *scopes: str, options: Mapping[str, Any] | None = None) -> Any:
        """An ``AccessTokenInfo``. Raises NoToken."""
        try:
            found = await _asked(self._credential, scopes, options or {})
        except Exception as error:
            if OTHER_SCOPE in str(error):
                raise
            # What the library says names no cause, and may quote an answer.
            raise NoToken(await self._problem(scopes)) from None
        self._had = True
        return found

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        return await self.get_token_info(*scopes, options=options)

    async def close(self) -> None:
        await self._credential.close()

    async def __aenter__(self) -> Tokens:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def _problem(self, scopes: tuple[str, ...]) -> BackupSyncError:
        """Ask each member of the library's chain by itself: only so is it known which one failed, and of what."""
        from azure.identity import CredentialUnavailableError

        silent = ""
        for one in getattr(self._credential, "credentials", (self._credential,)):
            name = type(one).__name__
            try:
                await _asked(one, scopes, {})
            except CredentialUnavailableError as error:
                cause = error.__cause__
                if isinstance(cause, HttpResponseError):
                    return self._refused(name, cause)
                silent = silent or (name if cause is not None else "")
            except HttpResponseError as error:
                return self._refused(name, error)
            except (FileNotFoundError, PermissionError, ValueError, TypeError) as error:
                return self._mistake(f"{name} is not set up as it has to be ({type(error).__name__})")
            except Exception as error:
                return self._away(f"{name} got no answer ({type(error).__name__})")
            else:
                return self._away(f"{name} failed for a moment")
        if silent and (self._had or self._identity.client_id or any(os.environ.get(name) for name in NAMED_BY)):
            return self._away(f"{silent} got no answer")
        return ConnectionMistake(
            f"{self._label}: the connection has no password, and nothing on this worker can get a token of Microsoft Entra ID "
            "in its place; give the worker a managed or workload identity, or set AZURE_CLIENT_ID and what goes with it"
        )

    def _refused(self, name: str, error: HttpResponseError) -> BackupSyncError:
        status = error.status_code or 0
        if status in (408, 410, 429) or status >= 500:
            return self._away(f"{name} was answered {status}")
        # The number of the reason is all that is safe to pass on.
        code = re.search(r"AADSTS\d+", str(error))
        said = ", ".join(filter(None, [str(status or ""), code[0] if code else ""]))
        return self._mistake(f"{name} was refused{f' ({said})' if said else ''}")

    def _mistake(self, why: str) -> BackupSyncError:
        return ConnectionMistake(
            f"{self._label}: no token of Microsoft Entra ID, since {why}; correct the identity of this worker, or "
            "'managed_identity_client_id' and 'workload_identity_tenant_id' in the connection's extra"
        )

    def _away(self, why: str) -> BackupSyncError:
        return RetriableError(f"{self._label}: no token of Microsoft Entra ID at the moment, since {why}")


async def _asked(credential: Any, scopes: tuple[str, ...], options: Mapping[str, Any]) -> Any:
    """A token, however the credential is asked for one."""
    if hasattr(credential, "get_token_info"):
        return await credential.get_token_info(*scopes, options=dict(options))
    return await credential.get_token(*scopes, **options)
