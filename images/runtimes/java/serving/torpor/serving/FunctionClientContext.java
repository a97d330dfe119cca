package torpor.serving;

import com.amazonaws.services.lambda.runtime.Client;
import com.amazonaws.services.lambda.runtime.ClientContext;
import java.util.HashMap;
import java.util.Map;

/** What the application said of itself, by the names that the mobile SDKs have for it. */
record FunctionClientContext(Map<String, Object> given) implements ClientContext {
  @Override
  public Client getClient() {
    Map<String, String> client = textsIn("client");
    return client == null ? null : new Application(client);
  }

  @Override
  public Map<String, String> getCustom() {
    return textsIn("custom");
  }

  @Override
  public Map<String, String> getEnvironment() {
    return textsIn("env");
  }

  private Map<String, String> textsIn(String name) {
    if (!(given.get(name) instanceof Map<?, ?> members)) return null;
    Map<String, String> texts = new HashMap<>();
    members.forEach((key, value) -> texts.put(String.valueOf(key), value == null ? null : String.valueOf(value)));
    return texts;
  }

  private record Application(Map<String, String> given) implements Client {
    @Override
    public String getInstallationId() {
      return given.get("installation_id");
    }

    @Override
    public String getAppTitle() {
      return given.get("app_title");
    }

    @Override
    public String getAppVersionName() {
      return given.get("app_version_name");
    }

    @Override
    public String getAppVersionCode() {
      return given.get("app_version_code");
    }

    @Override
    public String getAppPackageName() {
      return given.get("app_package_name");
    }
  }
}
