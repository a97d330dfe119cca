import {writeFileSync} from "node:fs"; writeFileSync("/dev/virtio-ports/torpor.agent", JSON.stringify({event:"hello",protocol:1,agent:"stub"})+"\n"); setInterval(() => {}, 2 ** 30)
