"""Makes the tables and the people of a file of JSON: one hash for all, of their one password."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from app import HASH, Base, User, engine, sessions


async def main(given: dict[str, Any]) -> None:
    """Make tables and people."""
    hashed = HASH.hash(given["password"])
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions() as session:
        session.add_all(
            User(email=person["email"], hashed_password=hashed, is_verified=True)
            for person in given["people"]
        )
        await session.commit()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
