import os
import pwd

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from taxes import with_tax

app = FastAPI(title="Items")
items: dict[int, "Item"] = {}


class Item(BaseModel):
    name: str
    price: float


items[1] = Item(name="pen", price=2.5)


@app.get("/items/{item_id}")
def read_item(item_id: int):
    if item_id not in items:
        raise HTTPException(404, "no such item")
    item = items[item_id]
    return {"item": item, "total": with_tax(item.price), "user": pwd.getpwuid(os.getuid()).pw_name}
