/* Swagger UI. */
import "swagger-ui/dist/swagger-ui.css";
import "./page.css";

import SwaggerUI from "swagger-ui";

import { element, identified, openapi } from "./page.js";

SwaggerUI({
  domNode: element,
  url: openapi,
  requestInterceptor: (request) => Object.assign(request, identified(request.headers)),
  validatorUrl: null, // it would tell a foreign host where the document is
  persistAuthorization: false, // this page does not store keys
  deepLinking: true,
  displayOperationId: true,
  filter: true,
});
