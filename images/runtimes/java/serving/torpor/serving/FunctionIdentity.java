package torpor.serving;

import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import java.util.Map;

/** {@code null} is nobody's. */
record FunctionIdentity(Map<String, Object> given) implements CognitoIdentity {
  @Override
  public String getIdentityId() {
    return given == null ? "" : (String) given.get("cognitoIdentityId");
  }

  @Override
  public String getIdentityPoolId() {
    return given == null ? "" : (String) given.get("cognitoIdentityPoolId");
  }
}
