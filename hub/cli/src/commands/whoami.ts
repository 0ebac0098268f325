/** `holdfast whoami`: who the hub takes the caller for, and what it may do. */
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { MemberService, WhoAmIResponseSchema } from "@holdfast/proto/holdfast/api/v1/member_pb.js";
import { enumWord, listAt, textAt } from "../format.ts";
import { jsonText, yamlText } from "../output.ts";
import { type HubOptions, withHub } from "../session.ts";
import type { Terminal } from "../terminal.ts";

export async function whoAmI(terminal: Terminal, options: HubOptions): Promise<void> {
  await withHub(terminal, options, async (hub) => {
    const answer = await hub.call(() => hub.client(MemberService).whoAmI({}));
    const view = toJson(WhoAmIResponseSchema, answer) as JsonObject;
    const name = textAt(view, "member.metadata.name");
    if (options.output === "json") terminal.out(jsonText(view));
    else if (options.output === "yaml") terminal.out(await yamlText(view));
    else if (options.output === "name") terminal.out(`member/${name}\n`);
    else {
      const tenant = textAt(view, "member.metadata.tenant");
      const grants = listAt(view, "member.spec.grants");
      const roles = grants.map((each) => enumWord(textAt(each, "role"), "ROLE_")).join(", ");
      const where = tenant === "-" ? "" : `, tenant ${tenant}`;
      terminal.out(
        `member/${name} of vendor ${textAt(view, "vendor")}${where}: ${roles || "no role"}\n`,
      );
      terminal.out(`may: ${answer.permissions.join(", ") || "nothing"}\n`);
    }
  });
}
