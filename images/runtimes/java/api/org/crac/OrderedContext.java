package org.crac;

import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** Holds no resource alive. The last that was registered hears of a snapshot first, and of the restore last. */
final class OrderedContext extends Context<Resource> {
  private final List<WeakReference<Resource>> registered = new ArrayList<>();

  @Override
  public synchronized void register(Resource resource) {
    registered.add(new WeakReference<>(resource));
  }

  @Override
  public void beforeCheckpoint(Context<? extends Resource> context) throws CheckpointException {
    List<Resource> reversed = living();
    Collections.reverse(reversed);
    CheckpointException failed = new CheckpointException();
    for (Resource resource : reversed) {
      try {
        resource.beforeCheckpoint(this);
      } catch (Exception e) {
        failed.addSuppressed(e);
      }
    }
    if (failed.getSuppressed().length > 0) throw failed;
  }

  @Override
  public void afterRestore(Context<? extends Resource> context) throws RestoreException {
    RestoreException failed = new RestoreException();
    for (Resource resource : living()) {
      try {
        resource.afterRestore(this);
      } catch (Exception e) {
        failed.addSuppressed(e);
      }
    }
    if (failed.getSuppressed().length > 0) throw failed;
  }

  private synchronized List<Resource> living() {
    List<Resource> living = new ArrayList<>();
    for (WeakReference<Resource> reference : registered) {
      Resource resource = reference.get();
      if (resource != null) living.add(resource);
    }
    return living;
  }
}
