"""A function that is none: what it does is what most do, so that a runtime which has run it has all of that behind it."""

import json
import logging

logger = logging.getLogger()
logger.setLevel(logging.INFO)


def handler(event, context):
    logger.info("event %s", json.dumps(event))
    print("left", context.get_remaining_time_in_millis())
    return {"statusCode": 200, "body": json.dumps({"event": event})}
