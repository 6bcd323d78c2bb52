"""Serves fastapi-users as its documentation shows it: SQLAlchemy, tokens stored in the database."""

import os
import uuid
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport
from fastapi_users.authentication.strategy.db import AccessTokenDatabase, DatabaseStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users.password import PasswordHelper
from fastapi_users_db_sqlalchemy.access_token import (
    SQLAlchemyAccessTokenDatabase,
    SQLAlchemyBaseAccessTokenTableUUID,
)
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

HASH = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))
engine = create_async_engine(os.environ["PEER_DATABASE"], pool_size=8, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """The base of the tables."""


class User(SQLAlchemyBaseUserTableUUID, Base):
    """A person."""


class AccessToken(SQLAlchemyBaseAccessTokenTableUUID, Base):
    """An opaque token that a person got by signing in."""


async def _session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


async def _users(
    session: Annotated[AsyncSession, Depends(_session)],
) -> AsyncIterator[SQLAlchemyUserDatabase]:
    yield SQLAlchemyUserDatabase(session, User)


async def _tokens(
    session: Annotated[AsyncSession, Depends(_session)],
) -> AsyncIterator[SQLAlchemyAccessTokenDatabase]:
    yield SQLAlchemyAccessTokenDatabase(session, AccessToken)


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """Finds and checks people."""

    reset_password_token_secret = os.environ["PEER_SECRET"]
    verification_token_secret = os.environ["PEER_SECRET"]


async def _manager(
    users: Annotated[SQLAlchemyUserDatabase, Depends(_users)],
) -> AsyncIterator[UserManager]:
    yield UserManager(users, PasswordHelper(HASH))


def _strategy(
    tokens: Annotated[AccessTokenDatabase[AccessToken], Depends(_tokens)],
) -> DatabaseStrategy[User, uuid.UUID, AccessToken]:
    return DatabaseStrategy(tokens, lifetime_seconds=3600)


backend = AuthenticationBackend(
    name="db", transport=BearerTransport(tokenUrl="auth/login"), get_strategy=_strategy
)
fastapi_users = FastAPIUsers[User, uuid.UUID](_manager, [backend])
app = FastAPI()
app.include_router(fastapi_users.get_auth_router(backend), prefix="/auth")
app.include_router(
    fastapi_users.get_users_router(schemas.BaseUser[uuid.UUID], schemas.BaseUserUpdate),
    prefix="/users",
)
