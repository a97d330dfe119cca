import os
import pwd

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from taxes import with_tax

items = {1: {"name": "pen", "price": 2.5}}


async def read_item(request):
    item = items.get(request.path_params["item_id"])
    if item is None:
        return JSONResponse({"detail": "no such item"}, 404)
    user = pwd.getpwuid(os.getuid()).pw_name
    return JSONResponse({"item": item, "total": with_tax(item["price"]), "user": user})


app = Starlette(routes=[Route("/items/{item_id:int}", read_item)])
