"""What a handler is told of its invocation beside the event."""

import json
import os
import sys
import time


class _Members:
    """An object that has these members, `None` where they weren't given."""

    def __init__(self, names, given):
        for name in names:
            setattr(self, name, given.get(name))

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ",".join("%s=%r" % item for item in vars(self).items()))


class Client(_Members):
    def __init__(self, given):
        super().__init__(
            ["installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"], given
        )


class ClientContext(_Members):
    def __init__(self, given):
        super().__init__(["custom", "env", "client"], given)
        if isinstance(self.client, dict):
            self.client = Client(self.client)


class CognitoIdentity(_Members):
    def __init__(self, given):
        super().__init__([], given)
        self.cognito_identity_id = given.get("cognitoIdentityId")
        self.cognito_identity_pool_id = given.get("cognitoIdentityPoolId")


class LambdaContext:
    def __init__(self, about):
        self.aws_request_id = about.get("requestId")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = about.get("functionArn")
        self.tenant_id = about.get("tenantId")
        client_context = about.get("clientContext")
        self.client_context = ClientContext(json.loads(client_context)) if client_context else None
        self.identity = CognitoIdentity(json.loads(about.get("cognitoIdentity") or "{}"))
        self._epoch_deadline_time_in_ms = about["deadlineMs"]

    def get_remaining_time_in_millis(self):
        return max(self._epoch_deadline_time_in_ms - int(time.time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        return "LambdaContext([%s])" % ",".join("%s=%s" % item for item in vars(self).items())
