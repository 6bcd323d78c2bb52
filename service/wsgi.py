"""Entry point of the WSGI server."""

from service.app import create_app, open_house
from service.settings import load

house = open_house(load())
app = create_app(house)
# The first person must not wait for the models to load.
house.face.available()
if house.settings.sqlite:
    # One file has one writer at a time: the background work runs inside the server.
    house.jobs.start()
